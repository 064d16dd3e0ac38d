"""What the operator is to do about what stopped a run."""

from phonon_bulk.journal import Kind
from phonon_bulk.report.summary import Summary, resuming


def how_to_mend(reason: str, run: int) -> str:
    """Return what the operator is to do about a reason for which the provider refuses all."""
    step = step_to_mend(reason)
    flag = " --flow-id ID" if "flow_id" in step else ""
    return f"{step}, then go on with `phonon-bulk resume {run}{flag}`"


def next_step(summary: Summary) -> str | None:
    """Return what a run that is held waits for, if it waits for a person."""
    if summary.state == "paused":
        return f"run {summary.run} is paused: go on with {resuming(summary)}"
    if summary.state != "stopped":
        return None
    reason = summary.reason or ""
    if summary.kind == Kind.INTAKE and "Invalid Flow ID" in reason:
        return (
            "have those who send the calls name the right flow, or correct intake.flow_id; "
            f"`phonon-bulk cancel {summary.run}` takes back what waits"
        )
    if summary.kind == Kind.INTAKE:
        return f"{step_to_mend(reason)}, then go on with {resuming(summary)}"
    return f"{how_to_mend(reason, summary.run)} (with --to-worker, a worker sends it)"


def step_to_mend(reason: str) -> str:
    """Return what to do about such a reason, as the beginning of a sentence."""
    return next((step for words, step in _MENDS.items() if words in reason), "Mend it with Phonon")


_MENDS = {
    "Invalid Flow ID": "Correct flow_id in the campaign file (it stands on the flow's edit page in "
    "Phonon's console)",
    "Invalid Flow Version": "Publish the flow anew in Phonon's console, or correct flow_id in the "
    "campaign file",
    "Invalid Security ID": "Set the right security id (PHONON_BULK_SECURITY_ID, or the file named "
    "by security_id_file; it stands on the flow's edit page in Phonon's console)",
    "API Version not Supported": "Upgrade phonon-bulk",
    "IP Not Whitelisted": "Have this machine's public IP address allowed in Phonon's console",
    "IP is not allowed": "Have this machine's public IP address allowed in Phonon's console",
    "Insufficient Balance": "Top up the account with Phonon",
    "Validity Expired": "Renew the account with Phonon",
    "DID Not Mapped": "Have a caller number (DID) mapped to the flow in Phonon's console",
    "No Mask Available": "Have a caller mask added in Phonon's console",
    "Invalid SMS Gateway": "Have the flow's SMS gateway set right in Phonon's console",
    "endpoint's URL": "Correct the endpoint's url in phonon-bulk.toml",
    "a proxy on the way": "Set the proxy's login in the HTTPS_PROXY variable",
    "all rows seem to share": "See the list, the mapping and the flow's variables",
}
