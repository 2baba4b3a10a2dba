"""Charts as data: what is drawn, in which words; `figures.chart_drawing` draws it with Bokeh."""
