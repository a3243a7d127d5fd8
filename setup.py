"""Packaging of UXNet search."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

TEST = ["pytest>=8", "pytest-xdist>=3.7", "hypothesis>=6.100", "ruff>=0.6", "mypy>=1.11", "build>=1.2"]
DOCS = [
    "mkdocs-material>=9.7,<10",
    "mkdocstrings[python]>=1.0",
    "nbconvert>=7.16",
    "nbclient>=0.10",
    "ipykernel>=7",
]
EXTRAS = {
    "nnunet": ["nnunetv2>=2.6"],
    "bundle": ["pytorch-ignite>=0.5", "fire>=0.6"],
    "onnx": ["onnx>=1.17", "onnxscript>=0.3", "onnxruntime>=1.20"],
    "slurm": ["submitit>=1.5.2"],
    "rl": ["tianshou>=0.5,<1", "gym>=0.26,<0.27"],  # what NNI's PolicyBasedRL needs
    "wandb": ["wandb>=0.19"],
    "mlflow": ["mlflow>=2.20"],
    "dicom": ["pydicom>=3", "highdicom>=0.25"],
}
"""What other tools need; tested by make test-exports, ``slurm`` by make test-scale,
``wandb`` and ``mlflow`` by make test-tracking."""

HERE = Path(__file__).parent
SHIPPED = ("*.yml", "results/*genotype*.json", "results/hippocampus_genotypes/*.json")
"""Files of experiments/ that the wheel holds: the experiments and the genotypes that they read."""


class BuildWithExperiments(build_py):
    """Puts experiments/ into the wheel, as package data of uxnet_eval."""

    def run(self):
        super().run()
        if self.editable_mode:
            return  # uxnet_eval then finds the folder of the checkout
        for path in sorted(path for pattern in SHIPPED for path in (HERE / "experiments").glob(pattern)):
            copy = Path(self.build_lib, "uxnet_eval/_experiments", path.relative_to(HERE / "experiments"))
            self.mkpath(str(copy.parent))
            self.copy_file(str(path), str(copy))


setup(
    name="uxnet-search",
    version="0.2.0",
    description="Searches the architecture of a medical segmentation network (UXNet) on your own scans",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="UXNet search contributors",
    license="MIT",
    packages=find_packages(include=["search_space*", "strategies*", "uxnet_eval*"]),
    package_data={
        "uxnet_eval.nni_guards": ["*.js"],
        "uxnet_eval.report": ["assets/*"],
    },
    cmdclass={"build_py": BuildWithExperiments},
    python_requires=">=3.10,<3.14",
    install_requires=[
        "nni==3.0",  # the last release; uxnet_eval guards against its known defects
        "setuptools<81",  # nnictl imports pkg_resources
        "filelock<3.12",  # NNI's own bound
        "torch>=2.10",  # below: advisory about the weights_only unpickler
        # 2.6.2 and 2.6.3 were malicious uploads
        "pytorch-lightning>=2.6,!=2.6.2,!=2.6.3",
        "monai>=1.6",  # below: advisories about archives and pickles
        "isal>=1.7",  # CRC-32 of checkpoints
        "numpy>=1.26",
        "nibabel>=5.2",
        "SimpleITK>=2.4",  # MetaImage and NRRD; DICOM series
        "scikit-image>=0.24",
        "scipy>=1.11",
        "pandas>=2.2",
        "matplotlib>=3.8",
        "tensorboard>=2.16",
        "psutil>=5.9",
        "pyyaml>=6",
        "pydantic>=2.7",
        "typer>=0.15",
        "rich>=13",
    ],
    extras_require={"test": TEST, "docs": DOCS, **EXTRAS},
    entry_points={"console_scripts": ["uxnet = uxnet_eval.cli:main"]},
)
