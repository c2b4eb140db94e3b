//! The truth: one trait of domain operations over PostgreSQL and SQLite.
