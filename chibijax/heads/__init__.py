"""Morphable head models: FLAME, ICT-FaceKit and our own procedural one."""
