"""Fine-tuning in a process of its own: what it is asked, what it decides by the data, what it does, how it is watched.

Only the plain parts are imported from here; torch and Lightning are met in the child process.
"""
