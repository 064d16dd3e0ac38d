"""Can this machine send? What is looked at, and what to do about what is not well.

    lines      every line there is, with its grade and what to do; docs/doctor.md has them all
    files      settings, security ids, tokens, campaigns: who may read and change them
    machine    disk, open files, the date in India
    books      the journal: its file, its disk, its content, the runs that wait
    network    the way to an endpoint: DNS, connection, TLS, an answer; no call is placed
    sighted    what follows from what was seen on that way
    aside      work that may hang, beside the event loop

Nothing is sent that could be a call, and nothing in a journal is changed.
"""

from phonon_bulk.report.doctor.examination import Subject, examine
from phonon_bulk.report.doctor.files import Planned
from phonon_bulk.report.doctor.lines import Check, Grade, to_lines, to_text

__all__ = ["Check", "Grade", "Planned", "Subject", "examine", "to_lines", "to_text"]
