"""The audit pack of a mixture: one account in the forms that auditors, catalogues and regulators read.

``facts``       everything that the forms state, counted once from the audited documents and the manifests
``domains``     registrable domains by bytes as trained
``crawl``       when the documents were fetched
``config``      what only a person can state
``croissant``   Croissant 1.1 with RAI and PROV-O
``spdx``        SPDX 3.0.1, dataset profile
``openlineage`` OpenLineage events of every run behind the mixture
``eu_summary``  summary of training content (AI Act, article 53(1)(d))
``data_card``   data card in Markdown
``index_page``  the page that shows it all, with pictures
``pack``        writes the folder
"""
