#!/bin/sh
# A worker ($1), which takes a while, so that there is something to watch.
cat >/dev/null
case $1 in
revenue) sleep 0.4; echo '{"summary":"42 orders.","results":["orders of 5580.00 EUR"]}' ;;
refunds) sleep 0.8; echo '{"summary":"2 refunds.","results":["refunds of 57.50 EUR"]}' ;;
invoices) sleep 0.3; echo '{"summary":"One invoice is open.","results":["invoice 4711 of Nordwind, 1250.00 EUR"]}' ;;
bank) sleep 2; echo '{"summary":"Invoice 4711 is paid.","results":["paid 1250.00 EUR to Nordwind"]}' ;;
esac
