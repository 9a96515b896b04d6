//! Columns that are converted, their way back, and tolerances.
