"""Many jobs for running ComfyUI hosts: `sora batch`, and a client for scripts of one's own.

Read in this order: `workflow` (files as the front end saves them become what the host executes), `client` (one host
over HTTP and websocket), `host` (a headless host of one's own), `table` (rows become jobs), `store` (results and
manifest), `run` (the jobs on one host), `cluster` (on many, through Ray).

Nothing here is imported by the nodes. Needs the extra `batch`, on a Ray cluster the extra `cluster`.
"""
