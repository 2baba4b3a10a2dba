"""A pruned network as files: weights, widths, a Python file that rebuilds it, a picture."""

from explorer.export.files import check_folder
from explorer.export.report import Measured, Report, make_report
from explorer.export.table import table
from explorer.export.writing import export

__all__ = ["Measured", "Report", "check_folder", "export", "make_report", "table"]
