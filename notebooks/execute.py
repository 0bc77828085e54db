"""Execute a notebook that is kept as text: `python notebooks/execute.py NOTEBOOK.md OUT.ipynb`, from the repository.

It reads the results in the folder AIDA_RESULTS, by default results/sample.
"""

import sys
from pathlib import Path

try:
    import jupytext
    import nbformat
    from nbclient import NotebookClient
except ImportError as error:
    sys.exit(f"execute.py: {error}. Install the notebook tools: python -m pip install jupytext nbclient ipykernel")

ROOT = Path(__file__).resolve().parents[1]


def execute(notebook: Path) -> nbformat.NotebookNode:
    """Run all cells from top to bottom; an error in one of them is raised."""
    node = jupytext.read(notebook)
    NotebookClient(node, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    return node


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    executed = execute(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(executed, target)
