"""Our own sample footage: SUMO drives, Blender renders, the truth is known exactly.

Run ``python -m scripts.footage SCENARIO.yaml`` from the repository root; see ``docs/footage.md``. The simulation and
the rendering need the packages of ``scripts/footage/requirements.txt`` in an environment of their own (Blender's
Python module pins an older numpy than the program uses); scenario, camera, trajectory, plates and truth do not.
"""
