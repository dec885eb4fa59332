"""What an operator can ask and do: called by the command line, later by HTTP and the console. Prints nothing."""
