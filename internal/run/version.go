package run

import "polity.run/schema"

// framesRead are the versions of frames that this program reads.
var framesRead = schema.Range{From: frameVersion, To: frameImports}

// frameUpcasts make frames that older versions wrote into what this one folds, each time they are read: the log itself stays as it is.
// Version 2 has kinds of record that version 1 has not, and nothing else. A test reads the golden logs of all versions, and a next version.
var frameUpcasts = schema.Upcasts[*frame]{nil}
