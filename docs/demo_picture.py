"""Draw the picture of the README from the demo's results: `python docs/demo_picture.py`, after `make demo`."""

import io
from pathlib import Path

from PIL import Image

import aida_tools as aida

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "sample"
SHOWN = ["betabinomial-mixed", "log10-ols"]  # the primary model, and the reference study's
WIDTH = 1080

results = aida.load_results(RESULTS / "compare")
palette = aida.figures.Palette(aida.load_populations(ROOT / "config" / "populations.tsv"))
estimates = results.focus_estimates().query("model in @SHOWN")
forest = aida.figures.forest(estimates, palette, model=SHOWN[0], synthetic=results.synthetic)
forest.savefig(png := io.BytesIO(), format="png", dpi=300)

panels = [Image.open(p).convert("RGB") for p in (RESULTS / "figures" / "share_by_population.png", png)]
panels = [p.resize((WIDTH, round(p.height * WIDTH / p.width)), Image.Resampling.LANCZOS) for p in panels]
picture = Image.new("RGB", (WIDTH, sum(p.height for p in panels)), "white")
picture.paste(panels[0], (0, 0))
picture.paste(panels[1], (0, panels[0].height))
# A palette of 256 colours looks the same and makes a file a quarter as large.
picture = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
picture.save(ROOT / "docs" / "images" / "demo.png", optimize=True)
