"""Products in the forms that others read: pictures now, files and catalogues later."""
