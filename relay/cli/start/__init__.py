"""`relay start`: the command, its banner and the live feed of the terminal."""
