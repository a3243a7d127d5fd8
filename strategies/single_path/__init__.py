"""Search by measurement: a supernet of shared weights trained by single paths, and choice by evolution."""
