"""The documentation site: `python -m docsite` puts its pages together and builds them.

- `assemble`: the tree that Sphinx reads: docs/, notebooks, changelog, and what is generated.
- `api`, `commands`, `settings`, `tables`: pages made of docstrings, parsers, dataclasses, tables.
- `links`: links of the repository, as links of the site.
- `checks`: the built pages: nothing points nowhere, nothing is fetched.
- `diagrams`: the drawings of docs/explanation.

Why Sphinx: docs/decisions/017-documentation-site.md.
"""
