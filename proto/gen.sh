#!/bin/sh
# usage: gen.sh PROTOC-C FILE.proto OUTDIR
#
# Runs protoc-c and shortens its C names: Gojobd__V1__JobSpec becomes PbJobSpec,
# gojobd__v1__job_spec__init pb_job_spec__init, GOJOBD__V1__JOB__STATE__X PB_JOB__STATE__X.
# protoc-c's own option for this needs descriptor.proto, that is the whole C++ protobuf.
set -e
name=$(basename "$2" .proto)
"$1" --proto_path="$(dirname "$2")" --c_out="$3" "$2"
sed -i -e 's/Gojobd__V1__/Pb/g' -e 's/gojobd__v1__/pb_/g' -e 's/GOJOBD__V1__/PB_/g' \
    "$3/$name.pb-c.h" "$3/$name.pb-c.c"
