"""The real-time door: single calls by HTTP, for those that must go out now.

    door       the seam: what the door asks of whoever keeps and sends the calls

Nothing here knows the journal or how a call is sent; `worker/realtime.py` is behind the door.
"""
