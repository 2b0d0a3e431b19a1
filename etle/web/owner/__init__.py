"""The portal of owners: look up a notice, see the evidence, answer, pay. No account, Indonesian first, phones first."""
