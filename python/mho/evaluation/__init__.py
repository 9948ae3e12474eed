"""Monte-Carlo evaluation of analog models over time."""

from mho.evaluation.calibration import Calibrate
from mho.evaluation.comparison import Comparison, compare
from mho.evaluation.evaluating import evaluate
from mho.evaluation.metrics import Metric
from mho.evaluation.result import Evaluation

__all__ = ["Calibrate", "Comparison", "Evaluation", "Metric", "compare", "evaluate"]
