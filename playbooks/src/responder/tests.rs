//! Claims about responders.
