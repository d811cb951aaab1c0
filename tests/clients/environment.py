"""Installs the libraries, at the versions that this folder pins, into a folder of their own; says how to run each.

Standard library only: it runs before anything is installed.
"""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Python environments and what is pinned for each. The first also has what the tests themselves need.
PYTHONS = {
    "segment-python-2.4.0": "requirements.txt",
    "segment-python-2.3.4": "requirements-segment-2.3.4.txt",
    "vero-python": "requirements-vero.txt",
}
NODE_SCRIPTS = {
    "segment-node": "segment_node.mjs",
    "analytics-node": "analytics_node.mjs",
    "vero-tracking": "vero_tracking.mjs",
}
NODE_MAJOR_MIN = 20
INSTALL_SECONDS = 600


class Environment:
    """The folder with the libraries, and the folder that cargo builds into."""

    def __init__(self, folder, target):
        self.folder = Path(folder)
        self.target = Path(target)

    def python(self, name):
        """The Python that has a library."""
        return self.folder / name / "bin" / "python"

    def command(self, name):
        """How to run the script of a client."""
        if name in NODE_SCRIPTS:
            return ["node", str(self.folder / "node" / NODE_SCRIPTS[name])]
        if name == "segment-rust":
            return [str(self.target / "debug" / "segment-rust")]
        script = "client_vero_python.py" if name == "vero-python" else "client_segment_python.py"
        return [str(self.python(name)), str(HERE / script)]

    def install(self):
        """Installs and builds everything; ends the program if that is not possible."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, requirements in PYTHONS.items():
            if not self.python(name).exists():
                run([sys.executable, "-m", "venv", "--clear", str(self.folder / name)])
            pip = [str(self.python(name)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run([*pip, "-r", str(HERE / requirements)])
        self._install_node("node")
        self._install_node("browser")
        manifest = str(HERE / "segment-rust" / "Cargo.toml")
        run(["cargo", "build", "--locked", "--manifest-path", manifest, "--target-dir", str(self.target)])

    def browser_library(self):
        """The package of the browser's library."""
        return self.folder / "browser" / "node_modules" / "@segment" / "analytics-next"

    def browser_command(self, chromium):
        """How to run the browser that is told what to do."""
        return ["node", str(self.folder / "browser" / "visit.mjs"), chromium]

    def _install_node(self, name):
        version = run(["node", "--version"]).strip()
        if int(version.removeprefix("v").partition(".")[0]) < NODE_MAJOR_MIN:
            sys.exit(f"node is {version}, and the libraries need {NODE_MAJOR_MIN}")
        # The scripts lie beside what is installed, since that is where Node looks for it.
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for file in (HERE / name).iterdir():
            if file.is_file():
                shutil.copy(file, folder)
        lock = (folder / "package-lock.json").read_bytes()
        installed = folder / "node_modules" / ".of-lock"
        if not installed.exists() or installed.read_bytes() != lock:
            run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder)
            installed.write_bytes(lock)


def run(command, folder=None):
    """Runs a command; ends the program, with what it wrote, if it fails."""
    if shutil.which(command[0]) is None:
        sys.exit(f"{command[0]} is not installed, and the clients need it")
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        sys.exit(f"takes longer than {INSTALL_SECONDS} s: {' '.join(command)}")
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}\nfailed: {' '.join(command)}")
    return done.stdout
