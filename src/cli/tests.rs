//! Whole command lines, played in process where a test can reach below them: to the disk.

mod faults;
mod home;
mod lineage;
mod photo;
