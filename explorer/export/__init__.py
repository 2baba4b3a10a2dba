"""A pruned network as files: weights, widths, a Python file that rebuilds it, torch.export, ONNX, a picture; a report;
replay scripts.
"""

from explorer.export.files import check_folder
from explorer.export.html_report import html_report
from explorer.export.replay import replay_script, replay_session
from explorer.export.report import Measured, Report, make_report
from explorer.export.snapshot import snapshot_svg
from explorer.export.table import table
from explorer.export.writing import FORMATS, check_formats, export

__all__ = [
    "FORMATS",
    "Measured",
    "Report",
    "check_folder",
    "check_formats",
    "export",
    "html_report",
    "make_report",
    "replay_script",
    "replay_session",
    "snapshot_svg",
    "table",
]
