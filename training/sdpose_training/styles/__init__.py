"""COCO-OOD: pictures in other styles, with their annotations unchanged."""
