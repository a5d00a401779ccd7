"""What pyproject.toml cannot say: conf/ lies beside the package here, and within it where it is installed."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["imbalance_bench*"]), "imbalance_bench.conf"],
    package_dir={"imbalance_bench.conf": "conf"},
)
