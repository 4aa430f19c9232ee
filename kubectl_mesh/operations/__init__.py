"""What the commands do, as functions: they compose the stages, take the machine as an argument, and
print nothing.
"""
