"""The tables and figures of the paper: what is run for each, and one page with our figures beside the paper's."""
