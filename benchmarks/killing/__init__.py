"""What `kill_and_resume.py` kills: the commands, the killing, and the comparison with an undisturbed run."""
