"""The real-time door: single calls by HTTP, for those that must go out now.

    door         the seam: what the door asks of whoever keeps and sends the calls
    server       listens; lets in, finds the route, answers
    connections  how many clients, and how slow
    calls        what is done under /v1/calls
    orders       a body, read and checked; pure, as are those below
    parameters   query and headers, read and checked
    answers      what a client is told
    problems     what it is told when something is wrong (RFC 9457)
    gate         who is let in
    token        the bearer token, and when there must be one
    openapi      the description of all that

Nothing here knows the journal or how a call is sent; `worker/realtime.py` is behind the door.
"""
