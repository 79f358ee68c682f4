"""Runs RedisGears functions in Python outside of the server.

The server starts one template process (`template`), which imports everything once and forks a worker (`worker`) when
asked. A worker holds sessions (`session`): the globals of a script and the flows it made with a GearsBuilder
(`builder`, `plan`). An execution (`execution`) runs the stages of a flow (`stage`, `steps`) on batches of records that
the server sends over the flow socket (`frames`); what a script asks of the server goes over the call socket
(`channel`). PROTOCOL.md describes both.
"""

PROTOCOL_VERSION = 1
