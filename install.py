"""What ComfyUI-Manager runs once, after requirements.txt: installs OpenCV if there is none.

requirements.txt cannot name OpenCV, because pip would put another build over the one that is there.
"""

import importlib.util
import subprocess
import sys

if importlib.util.find_spec("cv2") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "opencv-python-headless"], check=True)
