"""What is said of a run: its summary (`summary.py`) and its contacts (`export.py`)."""
