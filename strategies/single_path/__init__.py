"""Search by measurement: single paths train shared weights, and evolution chooses networks."""
