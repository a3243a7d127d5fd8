"""Packaging of UXNet search."""

from pathlib import Path

from setuptools import find_packages, setup

TEST = ["pytest>=8", "hypothesis>=6.100", "ruff>=0.6", "mypy>=1.11"]

setup(
    name="uxnet-search",
    version="0.1.0",
    description="Searches the architecture of a medical segmentation network (UXNet) on your own scans",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="UXNet search contributors",
    license="MIT",
    packages=find_packages(include=["search_space*", "strategies*", "uxnet_eval*"]),
    package_data={
        "uxnet_eval.nni_guards": ["*.js"],
        "uxnet_eval.report": ["assets/*"],
    },
    python_requires=">=3.10,<3.14",
    install_requires=[
        "nni==3.0",  # the last release; uxnet_eval guards against its known defects
        "setuptools<81",  # nnictl imports pkg_resources
        "filelock<3.12",  # NNI's own bound
        "torch>=2.10",  # below: advisory about the weights_only unpickler
        # 2.6.2 and 2.6.3 were malicious uploads
        "pytorch-lightning>=2.6,!=2.6.2,!=2.6.3",
        "monai>=1.6",  # below: advisories about archives and pickles
        "numpy>=1.26",
        "nibabel>=5.2",
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
    extras_require={"test": TEST},
    entry_points={"console_scripts": ["uxnet = uxnet_eval.cli:main"]},
)
