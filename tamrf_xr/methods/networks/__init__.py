"""Networks of other authors, written from their papers; parameters bear the authors' names."""
