"""The frame of the HTML report: its style sheet, which also repaints the pictures in dark themes."""

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}: {remark}</title>
<style>
:root {{
  --ground: #ffffff; --ink: #1f2933; --soft: #5f6b78; --line: #d9dee4; --pale: #f4f7fa;
  --kept: #0072b2; --removed: #8298aa; --fixed: #8b96a1; --chosen: #e69f00;
}}
@media screen and (prefers-color-scheme: dark) {{
  :root {{
    --ground: #12171d; --ink: #e6eaee; --soft: #9aa7b3; --line: #39424b; --pale: #1b222a;
    --kept: #56b4e9; --removed: #6f879b; --fixed: #77838f;
  }}
}}
* {{ box-sizing: border-box; }}
body {{
  margin: 0 auto; padding: 28px 24px 48px; max-width: 1000px; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif;
}}
h1 {{ font-size: 26px; line-height: 1.2; margin: 0 0 6px; }}
h2 {{ font-size: 18px; margin: 36px 0 10px; }}
p {{ margin: 6px 0; max-width: 80ch; }}
header p, footer, small, .facts span {{ color: var(--soft); }}
.facts {{ display: flex; flex-wrap: wrap; gap: 12px 36px; margin-top: 20px; }}
.facts div {{ display: flex; flex-direction: column; }}
.facts span, small {{ font-size: 13px; }}
.facts strong {{ font-size: 26px; line-height: 1.25; font-variant-numeric: tabular-nums; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; vertical-align: top; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); }}
td {{ white-space: nowrap; }}
td.long {{ white-space: normal; min-width: 13em; }}
thead th {{ color: var(--soft); font-weight: 600; white-space: nowrap; }}
tbody th {{ font-weight: 600; }}
figure {{ margin: 0; overflow-x: auto; }}
svg {{ display: block; max-width: 100%; height: auto; }}
svg .ground {{ fill: var(--ground); }}
svg text.ink {{ fill: var(--ink); }}
svg text.soft {{ fill: var(--soft); }}
svg .kept:not([fill="none"]) {{ fill: var(--kept); }}
svg .fixed {{ fill: var(--fixed); }}
svg .hollow {{ fill: var(--ground); stroke: var(--kept); }}
svg .removed {{ stroke: var(--removed); }}
svg line.line {{ stroke: var(--line); }}
svg line.soft {{ stroke: var(--soft); }}
svg .ring {{ stroke: var(--chosen); }}
dt {{ font-weight: 600; margin-top: 8px; }}
dd {{ margin: 0; max-width: 80ch; }}
pre {{
  background: var(--pale); border: 1px solid var(--line); border-radius: 6px; padding: 12px 14px; overflow-x: auto;
  font: 13px/1.45 ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace;
}}
summary {{ cursor: pointer; padding: 6px 0; }}
:focus-visible {{ outline: 2px solid var(--chosen); outline-offset: 2px; }}
footer {{ margin-top: 40px; font-size: 13px; }}
@media print {{
  body {{ max-width: none; padding: 0; font-size: 10pt; }}
  h2 {{ break-after: avoid; }}
  figure, tr {{ break-inside: avoid; }}
  pre {{ white-space: pre-wrap; overflow-wrap: anywhere; font-size: 8pt; }}
  table {{ font-size: 7.5pt; }}
  th, td {{ padding-right: 6pt; }}
  .wide, figure {{ overflow: visible; }}
}}
</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>{asked} {after}</p>
<div class="facts">{facts}</div>
</header>
<main>
{body}
</main>
<footer>Made by Pruning Explorer.</footer>
</body>
</html>
"""
