import subprocess
import sys


def test_the_account_of_a_takedown_does_not_wait_for_the_libraries_that_fit():
    heavy = ["torch", "sklearn", "numba", "matplotlib"]
    code = f"import sys, gem_assets.lineage.certificate; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
