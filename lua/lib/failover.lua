--- Ordered groups whose members are found by checks of different kinds.
--
-- `ifportup` and `ifurlup` take ordered groups themselves, all probed the same way. This is for the rest: a site
-- behind HTTPS first, then one that only has a port.
--
--   failover({
--     ifurlup('https://www.example.com/', {'192.0.2.1'}, {backupSelector = 'empty', verify = true}),
--     ifportup(8080, {'198.51.100.1'}, {backupSelector = 'empty'}),
--   }, {'203.0.113.1'})
--
-- groups  a list of lists; give each check `backupSelector = 'empty'`, so that it returns only what is up
-- last    what to answer when every group is empty; without it that is NODATA
function failover(groups, last)
  for _, group in ipairs(groups) do
    if #group > 0 then return group end
  end
  return last or {}
end
