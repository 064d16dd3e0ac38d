"""From a campaign or a run's number to what `runner` and `dispatch` need: the same for all doors.

lists     the list of a run: found, opened, kept until it is read, known again
opening   which run is worked on: begun anew, found, or gone on with
alone     not beside another process that is at work on the same campaign
hours     how long a process may work, and at what time of day
clearing  contact data that leaves the journal
wiring    the parts of sending, as the settings have them
"""
