//! Claims about playbooks.
