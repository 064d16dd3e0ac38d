"""The long-lived process: sends whatever is in the journal until it is told to stop."""
