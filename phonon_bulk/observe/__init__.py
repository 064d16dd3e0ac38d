"""What is seen of a process from outside, and what it tells others.

ping       that a command began and ended, to a service that waits for it
standing   how a process stands, for whoever shows it
look       what the journal says of all accounts and endpoints at one moment
metrics    both, and what is counted as it happens, for Prometheus
pages      what is answered to whoever watches: /metrics, /healthz, /readyz
notify     how the process stands, told to systemd
traces     a span for each request, for OpenTelemetry
"""
