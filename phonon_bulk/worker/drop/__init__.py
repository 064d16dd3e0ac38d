"""The drop folders: a campaign with `source.watch` takes each file once that comes whole.

folders    looks at the folders, and takes files one after the other
arrivals   which files are wanted, when one is whole, what follows from the journal; pure
taking     one file into its run
filing     a file is held, and put away into done/ or failed/
slips      the reports that are put beside it
"""

from phonon_bulk.worker.drop.folders import DropFolders, load_watched

__all__ = ["DropFolders", "load_watched"]
