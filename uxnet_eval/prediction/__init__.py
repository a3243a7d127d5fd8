"""Label maps of new scans: windows over an image, several networks, and the way back to each file's own grid."""

from .case_prediction import CasePrediction, predict_case, predict_prepared
from .windows import Model, WindowSettings

__all__ = ["CasePrediction", "Model", "WindowSettings", "predict_case", "predict_prepared"]
