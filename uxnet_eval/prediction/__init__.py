"""Label maps of new scans: sliding windows, several networks, and back to each file's grid."""

from .case_prediction import CasePrediction, predict_case, predict_prepared
from .windows import Model, WindowSettings

__all__ = ["CasePrediction", "Model", "WindowSettings", "predict_case", "predict_prepared"]
