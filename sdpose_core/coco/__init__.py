"""COCO files as others write them: ids, names, annotations, categories, boxes."""
