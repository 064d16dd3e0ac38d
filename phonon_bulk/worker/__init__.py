"""The long-lived process: sends whatever is in the journal, until it is told to stop.

    process    the whole: opens the journal, and again if it was away; stops, reloads
    crew       named tasks that are watched: one that dies ends all
    senders    a dispatcher for each run that has something to send
    looking    which runs have something to send: looked for when the journal changes
    realtime   behind the intake's door: single calls, kept and sent at once
    tickets    what became of single calls, for those who ask or wait
    pruning    contact data that is old enough leaves, once an hour
    drop/      folders whose files are taken
    reload     what was changed in the settings; pure

Reading and sending meet only in the journal: whatever `submit` puts into it is noticed here.
"""
